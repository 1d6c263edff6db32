//! Domain ↔ proto. Generated messages go no further than here and `service.rs`.

pub mod probe;
pub mod run;
pub mod survey;
#[cfg(test)]
mod versions;
