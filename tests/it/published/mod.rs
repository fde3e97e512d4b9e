//! Our command line against the server that `SkyPilot` publishes: a live one without any cloud, recorded answers of one
//! that had a cluster, and servers of other times.

mod answers;
mod live;
mod recorded;
mod skew;
