//! The allocator of the gateway.
//!
//! mimalloc keeps the pages that a thread has freed until that thread allocates again, and a worker whose sockets have
//! left does not. [`give_back`] returns them. It is a crate of its own because the call needs unsafe code, which the rest
//! of the workspace forbids.

pub use mimalloc::MiMalloc;

#[allow(unsafe_code, reason = "a C function")]
unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// Gives the freed memory of the calling thread back to the system. Takes milliseconds after tens of thousands of
/// allocations were freed. Without effect unless [`MiMalloc`] is the global allocator.
#[allow(unsafe_code, reason = "a C function")]
pub fn give_back() {
    // SAFETY: mi_collect may be called at any time on any thread, and touches free memory only (mimalloc.h).
    unsafe { mi_collect(true) }
}
