//! The command as people run it, where no server is needed.

mod templates;
