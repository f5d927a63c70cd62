//! The contracts of other systems, row by row, as their clients see them.

#[path = "dialects/socket.rs"]
mod socket;
#[path = "dialects/terminal_server.rs"]
mod terminal_server;
