//! The bridge: awaiting tokio from asyncio, in microseconds.
//!
//! ```text
//!   event loop thread                                   tokio thread
//!   Coroutine.send() -- spawns --------------------->   task runs the future
//!        yields a Waiter, kept by its ticket in the Inbox of the loop
//!                                                       Queue.push((ticket, outcome)); one of a burst rings
//!   Inbox.drain() <-- add_reader(eventfd) ----------    Bell
//!        Waiter.complete() resumes the asyncio task, which sends again and gets the value or the error
//! ```
//!
//! The laws:
//! 1. Tokio's threads never attach to the interpreter and own no Python object: a task knows a ticket, not a waiter.
//! 2. Cancelling, throwing into, closing or dropping a coroutine aborts its task and frees its ticket; an outcome that
//!    comes later finds no ticket and is dropped.
//! 3. No lock is held across a call into Python, nor while a Python object may be freed.
//! 4. An outcome is turned into Python objects by the coroutine that asked for it, on the loop's own thread.

mod bell;
mod coroutine;
mod inbox;
mod outcome;
mod queue;
mod waiter;

pub use coroutine::Coroutine;
pub use inbox::Inbox;
pub use outcome::Outcome;
pub use waiter::Waiter;
