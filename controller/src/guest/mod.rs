//! The agent in a guest: the port `Guest` over vsock and hybrid vsock. What answers may be hostile; every number,
//! text, count and wait has a bound, listed in docs/development/hostile-guests.md.

pub mod text;
