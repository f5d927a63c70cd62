//! Who may ask.
