//! What happens to the Redis broker when Redis, its publishers or the network misbehave.

use std::time::Instant;

use super::*;
