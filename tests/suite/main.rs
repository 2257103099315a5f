//! The program and the library from outside. One binary, for every further one would compile the generic code of tensors anew.

mod bad_input;
mod collect;
mod common;
mod compare;
mod configs;
mod determinism;
mod distributed;
mod divergence;
mod events;
mod exchange;
mod forecast;
mod gymnasium;
mod interrupt;
mod kill_points;
mod mutants;
mod no_env;
mod options;
mod ppo;
mod progress;
mod quickstart_small;
mod remedies;
mod resume;
mod saved;
mod schema;
mod sequences;
mod table;
