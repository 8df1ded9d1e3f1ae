//! What the engine costs in memory: no devices, no system calls, one thread.
//!
//! A [`case::Case`] is one kind of work with a name, and counts its own operations and time. The programs beside this
//! library run cases: `compare` interleaves them and prints ratios to the floor; `once` runs one for a tool that counts
//! instructions.
//!
//! * [`floor`]: the yardstick, the least that any forwarder by NAT must do;
//! * [`frames`]: frames of many flows;
//! * [`world`]: an engine with a service, servers and a network around it;
//! * [`ring`]: where frames go, as cheap as a transmit ring's slots.

pub mod case;
pub mod floor;
pub mod frames;
pub mod ring;
pub mod world;
