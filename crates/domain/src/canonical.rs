//! Payloads as I-JSON and their canonical form (RFC 8785).
