//! The state machine of a message.
