//! Bytes <-> plain messages, one codec per standard with its spec page beside it.
//!
//! | module | standard | page |
//! |---|---|---|
//! | [`mold`] | MoldUDP64 1.00: packets, heartbeats, requests | `mold.md` |
//! | [`ouch`] | OUCH 5.0: orders in, reports out | `ouch.md` |
//! | [`itch`] | ITCH 5.0: the feed | `itch.md` |
//! | [`session`] | own: login, tokens, packet MAC over UDP | `session.md` |
//!
//! Consumes and produces byte slices and plain `Copy` structures; big-endian throughout. Nothing
//! here allocates, and no bytes from outside make it panic: decoders return small `Copy` errors.
//! Encoders panic when the caller's buffer is too short, which is our own mistake. Must not know
//! sockets, logs, commands or events: gateway and publisher translate.

#![forbid(unsafe_code)]

/// Declares the bytes of one message: a zerocopy structure without padding whose offsets stand
/// in the source, and are checked by the compiler together with the total.
macro_rules! wire_bytes {
    (
        $(#[$meta:meta])*
        struct $name:ident: $size:literal {
            $( $offset:literal $field:ident: $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            zerocopy::FromBytes,
            zerocopy::IntoBytes,
            zerocopy::Immutable,
            zerocopy::KnownLayout,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        struct $name {
            $( $field: $ty, )*
        }

        // Not every structure needs all four: a prefix is never written alone.
        #[allow(dead_code)]
        impl $name {
            const SIZE: usize = $size;

            /// Writes the bytes at the start of `out`; panics when it is shorter.
            #[inline]
            fn put(&self, out: &mut [u8]) -> usize {
                out[..$size].copy_from_slice(zerocopy::IntoBytes::as_bytes(self));
                $size
            }

            /// Reads from the start of `bytes`: the fields and what follows them.
            #[inline]
            fn get(bytes: &[u8]) -> Option<(&$name, &[u8])> {
                <$name as zerocopy::FromBytes>::ref_from_prefix(bytes).ok()
            }

            /// Reads from all of `bytes`; `None` when the length differs.
            #[inline]
            fn get_exact(bytes: &[u8]) -> Option<&$name> {
                <$name as zerocopy::FromBytes>::ref_from_bytes(bytes).ok()
            }
        }

        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size, "total differs from the page");
            assert!(core::mem::align_of::<$name>() == 1, "wire bytes have no alignment");
            $( assert!(core::mem::offset_of!($name, $field) == $offset, "offset differs"); )*
        };
    };
}

pub mod itch;
pub mod mold;
pub mod ouch;
pub mod session;
