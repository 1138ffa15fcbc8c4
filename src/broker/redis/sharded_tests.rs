//! The functions and the reads in a Redis Cluster whose slots are spread: with one node, or with two.

mod functions;
mod marks;
mod moves;
mod node;
mod subscriber;
