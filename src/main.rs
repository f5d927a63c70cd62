//! The program `sandtree`.

fn main() {}
