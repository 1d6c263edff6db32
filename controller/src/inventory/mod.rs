//! Who exists and how each is reached. Opens no disk and speaks to no guest.
