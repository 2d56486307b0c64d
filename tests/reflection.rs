//! What tools find out about a server without any file: its services, their comments, and whether they serve.

mod common;

use std::collections::BTreeMap;

use attache::{
    cli::{Cli, Command},
    config::Config,
    serve::Parts,
};
use clap::Parser as _;
use common::{TestServer, raw};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

const SERVICES: [&str; 4] =
    ["attache.v1.FeedService", "attache.v1.FilingService", "attache.v1.LogService", "attache.v1.RegistryService"];

/// The test of one version of reflection; both have the same messages in another package.
macro_rules! reflection {
    ($test:ident, $version:ident, $client:ident, $own:literal) => {
        #[tokio::test]
        async fn $test() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::$client, server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let server = TestServer::start().await;
            let ask = async |asked: MessageRequest| {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
                let mut client = $client::new(server.channel.clone());
                let mut answers =
                    client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
                answers.message().await.unwrap().unwrap().message_response.unwrap()
            };
            let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await
            else {
                panic!("services")
            };
            let names: Vec<_> = listed.service.into_iter().map(|s| s.name).collect();
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health", $own]) {
                assert!(names.contains(&service.to_owned()), "{service} in {names:?}");
            }

            let mut files: BTreeMap<String, FileDescriptorProto> = BTreeMap::new();
            let symbols = SERVICES.into_iter().chain([
                "google.rpc.ErrorInfo",
                "attache.v1.ErrorReason",
                "attache.v1.RegistryService.GetVisit",
            ]);
            let mut wanted: Vec<MessageRequest> =
                symbols.map(|s| MessageRequest::FileContainingSymbol(s.into())).collect();
            wanted.push(MessageRequest::FileByFilename("google/rpc/error_details.proto".into()));
            while let Some(asked) = wanted.pop() {
                let MessageResponse::FileDescriptorResponse(found) = ask(asked.clone()).await else {
                    panic!("{asked:?}")
                };
                for bytes in found.file_descriptor_proto {
                    let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
                    // A tool asks for what a file imports until it has all.
                    let unknown = file.dependency.iter().filter(|d| !files.contains_key(*d));
                    wanted.extend(unknown.map(|d| MessageRequest::FileByFilename(d.clone())));
                    files.insert(file.name().to_owned(), file);
                }
            }
            assert!(files.contains_key("google/rpc/error_details.proto"), "{:?}", files.keys());
            for (name, file) in files.iter().filter(|(name, _)| name.starts_with("attache/")) {
                let comments =
                    &file.source_code_info.as_ref().unwrap_or_else(|| panic!("{name} has lost its comments")).location;
                for (index, service) in file.service.iter().enumerate() {
                    let index = i32::try_from(index).unwrap();
                    for method in 0..service.method.len() {
                        let path = [6, index, 2, i32::try_from(method).unwrap()];
                        let comment = comments.iter().find(|l| l.path == path).map(|l| l.leading_comments());
                        assert!(comment.is_some_and(|c| !c.is_empty()), "{name}: {}", service.method[method].name());
                    }
                }
            }
            let served = files.values().flat_map(|f| &f.service).map(|s| s.name()).collect::<Vec<_>>();
            assert!(SERVICES.iter().all(|s| served.contains(&s.trim_start_matches("attache.v1."))), "{served:?}");
            server.stop().await;
        }
    };
}

reflection!(
    reflection_v1_tells_services_comments_and_error_details,
    v1,
    ServerReflectionClient,
    "grpc.reflection.v1.ServerReflection"
);
reflection!(
    reflection_v1alpha_tells_services_comments_and_error_details,
    v1alpha,
    ServerReflectionClient,
    "grpc.reflection.v1alpha.ServerReflection"
);

/// The configuration of tests, secured as a file says.
fn config_of(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attache.toml");
    std::fs::write(&file, text).unwrap();
    let line = ["attache", "serve", "--in-memory", "--config", file.to_str().unwrap()];
    let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else { panic!("it is serve") };
    Config { security: Config::load(&args).unwrap().security, ..common::config() }
}

#[tokio::test]
async fn reflection_is_served_unless_the_configuration_says_that_it_is_not() {
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let message_request = Some(MessageRequest::ListServices(String::new()));
    // (Both versions read the same.)
    let asked = ServerReflectionRequest { host: String::new(), message_request }.encode_to_vec();
    for (text, code) in [("", Code::Ok), ("reflection = false\n", Code::Unimplemented)] {
        let server = TestServer::with(config_of(text), Parts::default()).await;
        for version in ["v1", "v1alpha"] {
            let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            let answer = raw::call(&server.channel, &method, raw::framed(&asked), &[]).await;
            assert_eq!(answer.status.code(), code, "{text:?}: {version}");
            assert_eq!(answer.body.is_empty(), code != Code::Ok, "{text:?}: {version}");
        }
        let health = HealthClient::new(server.channel.clone()).check(HealthCheckRequest::default()).await;
        assert!(health.is_ok(), "{text:?}: the rest is served");
        server.stop().await;
    }
}

#[tokio::test]
async fn every_service_and_the_whole_serve() {
    let server = TestServer::start().await;
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.into() };
        let answer = HealthClient::new(server.channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = HealthCheckRequest { service: "attache.v1.Nothing".into() };
    let status = HealthClient::new(server.channel.clone()).check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn nothing_serves_while_the_server_drains() {
    let mut server = TestServer::start().await;
    // Watches of health that stand when the drain begins hear of it; so does who asks on a connection that is open.
    let mut watches = Vec::new();
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.into() };
        let mut watch = HealthClient::new(server.channel.clone()).watch(request).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving, "{service:?}");
        watches.push((service, watch));
    }
    let begun = raw::begin(&server.channel, "grpc.health.v1.Health/Check", &[]).await;
    server.drain();
    for (service, watch) in &mut watches {
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing, "{service:?}");
    }
    begun.send(raw::framed(&HealthCheckRequest::default().encode_to_vec())).await;
    let answer = begun.answer().await;
    let told = tonic_health::pb::HealthCheckResponse::decode(&answer.body[5..]).unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    drop(watches);
    server.ended().await;
}
