//! Where a webhook may go.
//!
//! A URL comes from a customer. It may point at what only we can reach (this machine,
//! the network around it, the metadata of a cloud), and may be spelled to look like one
//! address to whoever checks it and like another to whoever connects. So it goes
//! through these steps, in this order:
//!
//! 1. *the text as it was given*: the raw gate of [`EndpointUrl::parse`];
//! 2. *how it is read*: by the [WHATWG URL standard](https://url.spec.whatwg.org),
//!    and by the parser that puts it on the wire, which must both understand it. A
//!    host that the standard takes for an IPv4 address must be written as one;
//! 3. *how it is written*: as the standard serialises it, without a fragment and
//!    without a dot behind the host's name. This is both what is requested and what
//!    identifies the receiver;
//! 4. *whether it may be gone to*: scheme, port, the looks of the name, and an address
//!    that it names;
//! 5. *every address that a name resolves to*, and once more the one that a connection
//!    was made to, before a byte is sent.
//!
//! The first three are [`canonical`], the fourth is [`Policy::vet`] with them; they are
//! pure and need no network. They are taken when a URL is accepted and again before it
//! is requested: what a store holds may have been accepted under other rules. The last
//! is [`Policy::check_address`], and it is taken for each connection, by the one who
//! makes it: nobody asks for a name a second time, so an answer that changes between
//! check and use (DNS rebinding) changes nothing. A connection that is used again
//! passed it when it was made.
//!
//! A refusal names the rule, and never the address that a name resolved to: it would
//! tell a stranger about the network inside.
//!
//! # What is not needed for this
//!
//! Redirects and proxies, which would lead around all of it: there are none.
//!
//! [`EndpointUrl::parse`]: notify_core::EndpointUrl::parse

mod addresses;
mod names;
mod policy;
mod spelling;

pub use policy::{Policy, PolicyInvalid};
pub use spelling::canonical;
pub(crate) use spelling::read;
