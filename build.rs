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
    tonic_prost_build::configure()
        .codec_path("crate::transport::codec::CatalogueCodec")
        .compile_fds_with_config(files, prost_build::Config::new())?;
    Ok(())
}

fn prost_types_set(encoded: &[u8]) -> Result<prost_types::FileDescriptorSet, prost::DecodeError> {
    prost_types::FileDescriptorSet::decode(encoded)
}
