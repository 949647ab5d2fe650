//! Where a webhook may go, as far as its URL says.
//!
//! A URL comes from a customer and may be spelled to look like one address to
//! whoever checks it and like another to whoever connects. So it goes through three
//! steps, in this order, and what comes out is both what is requested and what
//! identifies the receiver:
//!
//! 1. *the text as it was given*: the raw gate of [`EndpointUrl::parse`];
//! 2. *how it is read*: by the [WHATWG URL standard](https://url.spec.whatwg.org),
//!    and by the parser that puts it on the wire, which must both understand it. A
//!    host that the standard takes for an IPv4 address must be written as one;
//! 3. *how it is written*: as the standard serialises it, without a fragment and
//!    without a dot behind the host's name.
//!
//! All of it is pure and needs no network: [`canonical`]. Names and addresses are
//! judged behind it; `resolve` says where.
//!
//! [`EndpointUrl::parse`]: notify_core::EndpointUrl::parse

mod spelling;

pub use spelling::canonical;
pub(crate) use spelling::read;
