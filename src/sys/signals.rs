//! Termination signals, registered once.
