//! Compiles `proto/` with protox: no `protoc` to install. Standard `.proto` files come from crates.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

/// Every file that defines a service or is reached by none; the rest come by import.
const PROTOS: [&str; 6] = [
    "attache/v1/registry_service.proto",
    "attache/v1/feed_service.proto",
    "attache/v1/filing_service.proto",
    "attache/v1/log_service.proto",
    "attache/v1/error.proto",
    "attache/log/v1/log.proto",
];

/// What the server answers with bytes that are encoded already.
const ENCODED: [&str; 8] = [
    "WatchEvents",
    "GetVisit",
    "GetMeeting",
    "GetAgreement",
    "GetExercise",
    "GetPerson",
    "GetOrganization",
    "GetPlace",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;
    // The encoded form keeps what prost's types would lose; reflection and JSON are fed from it.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("attache.binpb"), &encoded)?;

    let files = prost_types_set(&encoded)?;
    tonic_build::manual::Builder::new()
        .build_client(false)
        .compile(&[served(&files, "FeedService")?, served(&files, "RegistryService")?]);
    let mut config = prost_build::Config::new();
    // Of an import it is some hundred kilobytes, which are kept, told and sent as they are.
    config.bytes([".attache.log.v1.Entry.payload"]);
    tonic_prost_build::configure()
        .codec_path("crate::transport::codec::CatalogueCodec")
        .compile_fds_with_config(files, config)?;
    Ok(())
}

/// A service as it is served: as it is generated, but what answers with one record, or with frames, answers with bytes.
fn served(files: &prost_types::FileDescriptorSet, name: &str) -> Result<tonic_build::manual::Service, Box<dyn Error>> {
    let mut services = files.file.iter().flat_map(|file| &file.service);
    let service = services.find(|s| s.name() == name).ok_or_else(|| format!("there is no {name}"))?;
    let rust_type = |full: &str| format!("crate::pb::v1::{}", full.trim_start_matches(".attache.v1."));
    let mut built = tonic_build::manual::Service::builder().name(name).package("attache.v1");
    for method in &service.method {
        let own = tonic_build::manual::Method::builder().name(snake_case(method.name())).route_name(method.name());
        let own = own.input_type(rust_type(method.input_type()));
        let own = if method.server_streaming() { own.server_streaming() } else { own };
        let output = rust_type(method.output_type());
        built = built.method(if ENCODED.contains(&method.name()) {
            own.output_type("crate::pb::wire::Encoded").codec_path("crate::transport::codec::EncodedCodec").build()
        } else {
            own.output_type(output).codec_path("crate::transport::codec::CatalogueCodec").build()
        });
    }
    Ok(built.build())
}

fn snake_case(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, c| {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
        snake
    })
}

fn prost_types_set(encoded: &[u8]) -> Result<prost_types::FileDescriptorSet, prost::DecodeError> {
    prost_types::FileDescriptorSet::decode(encoded)
}
