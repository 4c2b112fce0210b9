//! Compose text → [`Stack`], or problems with their place in the text.
//!
//! Architecture invariant: nothing here touches the host. Files are read only through the
//! [`Source`] the caller gives, the environment comes in as a map, and no clock is asked.
//!
//! A [`Stack`] exists only if every reference in it resolves, so nothing after this crate
//! checks again.

pub mod stack;
