//! Compiles the contracts with protox, so that no protoc is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../../proto");
    let files = [
        "message",
        "ingest",
        "messages",
        "templates",
        "throttle",
        "stops",
        "dead_letters",
        "doubt",
        "events",
        "ledger",
        "suppression",
        "audit",
        "replay",
        "publish",
        "stored",
    ]
    .map(|name| root.join(format!("paceline/v1/{name}.proto")));
    println!("cargo::rerun-if-changed=../../proto");
    let descriptors = protox::compile(files, [root])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(
        out.join("paceline_descriptor.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    // Two turns, since servers read with a codec of their own: messages and servers, and then the clients for those messages.
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::codec::ServerCodec")
        .bytes(".")
        .compile_fds(descriptors.clone())?;
    let clients = out.join("clients");
    std::fs::create_dir_all(&clients)?;
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".paceline.v1", "crate::v1")
        .out_dir(clients)
        .compile_fds(descriptors)?;
    Ok(())
}
