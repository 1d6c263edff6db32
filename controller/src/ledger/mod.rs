//! The books of a trim: which guest disk is which image, what was claimed, sent, arrived and freed, and what that
//! means. Pure; nothing is read here, and nothing that a guest said can make it panic or overflow.

pub mod account;
pub mod evidence;
pub mod pair;
pub mod slack;
pub mod verdict;
