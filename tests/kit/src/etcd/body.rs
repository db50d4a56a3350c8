//! The body of a request: some bytes, and then either its end or, for a stream that the server
//! answers on, nothing more.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Bytes to send.
pub struct Sent {
    bytes: Option<Bytes>,
    stays_open: bool,
}

impl Sent {
    /// A whole body.
    pub fn whole(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), stays_open: false }
    }

    /// The beginning of a body that ends with its connection.
    pub fn open(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), stays_open: true }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.stays_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && !self.stays_open
    }

    fn size_hint(&self) -> SizeHint {
        if self.stays_open {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
