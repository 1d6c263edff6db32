//! Domain ↔ proto. Generated messages go no further than here and `service.rs`.

pub mod survey;
