//! The gRPC contracts as Rust: generated code, its conversions to and from `domain`, and errors as statuses.
//!
//! Only this crate knows both a generated type and a domain type. What is stored in Redis (`stored.proto`) is generated
//! here too, so that the same compatibility rules cover it.

pub mod codec;
pub mod convert;
pub mod rendered;
pub mod requests;
pub mod status;
pub mod stops;
pub mod text;

/// Generated from `proto/paceline/v1`.
#[allow(
    unreachable_pub,
    unused_qualifications,
    missing_docs,
    rustdoc::all,
    clippy::all,
    clippy::too_many_lines
)]
pub mod v1 {
    tonic::include_proto!("paceline.v1");
    tonic::include_proto!("clients/paceline.v1");
}

/// The encoded descriptors of every contract, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("paceline_descriptor");
