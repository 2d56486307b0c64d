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
    tonic_build::manual::Builder::new().build_client(false).compile(&[feed_service(&files)?]);
    tonic_prost_build::configure()
        .codec_path("crate::transport::codec::CatalogueCodec")
        .compile_fds_with_config(files, prost_build::Config::new())?;
    Ok(())
}

/// The feed's service as it is served: as it is generated, but the watch answers with frames that are encoded already.
fn feed_service(files: &prost_types::FileDescriptorSet) -> Result<tonic_build::manual::Service, Box<dyn Error>> {
    let services = files.file.iter().flat_map(|file| &file.service);
    let service = services.into_iter().find(|s| s.name() == "FeedService").ok_or("there is no FeedService")?;
    let rust_type = |full: &str| format!("crate::pb::v1::{}", full.trim_start_matches(".attache.v1."));
    let mut built = tonic_build::manual::Service::builder().name("FeedService").package("attache.v1");
    for method in &service.method {
        let name = method.name().chars().fold(String::new(), |mut name, c| {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(c.to_lowercase());
            name
        });
        let own = tonic_build::manual::Method::builder().name(name).route_name(method.name());
        let own = own.input_type(rust_type(method.input_type()));
        built = built.method(if method.server_streaming() {
            let own = own.output_type("crate::feed::WireFrame").server_streaming();
            own.codec_path("crate::transport::codec::WatchCodec").build()
        } else {
            let own = own.output_type(rust_type(method.output_type()));
            own.codec_path("crate::transport::codec::CatalogueCodec").build()
        });
    }
    Ok(built.build())
}

fn prost_types_set(encoded: &[u8]) -> Result<prost_types::FileDescriptorSet, prost::DecodeError> {
    prost_types::FileDescriptorSet::decode(encoded)
}
