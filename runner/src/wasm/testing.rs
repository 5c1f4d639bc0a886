//! A host made of nothing, and guests written by hand.
