//! What makes a message the same message: its content-addressed id.
