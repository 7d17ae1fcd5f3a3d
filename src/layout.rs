//! Fixed little-endian layouts of log payloads: one table per structure, checked at compile time.
//!
//! `layout!` takes fields with their offsets and writes the structure, `put` and `get`. The
//! offsets stand in the source so that the table can be read, and the compiler refuses a gap, an
//! overlap or a wrong total. Names only `types`.

use crate::types::*;

/// A value of fixed size in a log payload, little-endian.
pub trait Field: Sized + Copy {
    /// Bytes it takes.
    const SIZE: usize;
    /// Writes exactly [`Field::SIZE`] bytes at the start of `out`.
    fn put(self, out: &mut [u8]);
    /// Reads from exactly [`Field::SIZE`] bytes; `None` for a value the type does not have.
    fn get(bytes: &[u8]) -> Option<Self>;
}

macro_rules! integer_field {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            const SIZE: usize = size_of::<$ty>();
            #[inline(always)]
            fn put(self, out: &mut [u8]) {
                out[..Self::SIZE].copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn get(bytes: &[u8]) -> Option<Self> {
                Some(<$ty>::from_le_bytes(bytes[..Self::SIZE].try_into().ok()?))
            }
        }
    )*};
}
integer_field!(u8, u16, u32, u64, i64);

macro_rules! newtype_field {
    ($($ty:ident($inner:ty)),*) => {$(
        impl Field for $ty {
            const SIZE: usize = size_of::<$inner>();
            #[inline(always)]
            fn put(self, out: &mut [u8]) {
                self.0.put(out);
            }
            #[inline(always)]
            fn get(bytes: &[u8]) -> Option<Self> {
                <$inner>::get(bytes).map($ty)
            }
        }
    )*};
}
newtype_field!(
    Price(u32),
    Quantity(u32),
    Notional(u64),
    Seq(u64),
    Nanos(u64),
    Locate(u16),
    SessionSlot(u16),
    AccountSlot(u16),
    Urn(u32),
    OrderRef(u64),
    MatchNumber(u64)
);

impl<const N: usize> Field for Alpha<N> {
    const SIZE: usize = N;
    #[inline(always)]
    fn put(self, out: &mut [u8]) {
        out[..N].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn get(bytes: &[u8]) -> Option<Self> {
        Some(Alpha(bytes[..N].try_into().ok()?))
    }
}

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;
    #[inline(always)]
    fn put(self, out: &mut [u8]) {
        out[..N].copy_from_slice(&self);
    }
    #[inline(always)]
    fn get(bytes: &[u8]) -> Option<Self> {
        bytes[..N].try_into().ok()
    }
}

impl Field for Side {
    const SIZE: usize = 1;
    #[inline(always)]
    fn put(self, out: &mut [u8]) {
        out[0] = self.letter();
    }
    #[inline(always)]
    fn get(bytes: &[u8]) -> Option<Self> {
        Side::from_letter(bytes[0])
    }
}

/// Writes a structure with `SIZE`, `put` and `get` from a table of offset, field and type.
macro_rules! layout {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal {
            $( $(#[$field_meta:meta])* $offset:literal $field:ident: $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $name {
            /// Bytes in a log payload.
            pub const SIZE: usize = $size;

            /// Writes the structure at the start of `out` (at least `SIZE` bytes, else panics).
            #[inline]
            pub fn put(&self, out: &mut [u8]) {
                let out: &mut [u8; $size] =
                    (&mut out[..$size]).try_into().expect("slice of SIZE bytes");
                $( $crate::layout::Field::put(
                    self.$field,
                    &mut out[$offset..$offset + <$ty as $crate::layout::Field>::SIZE],
                ); )*
                let _ = out;
            }

            /// Reads the structure from the start of `bytes`; `None` when too short or when a
            /// field has no such value.
            #[inline]
            pub fn get(bytes: &[u8]) -> Option<Self> {
                let bytes: &[u8; $size] = bytes.get(..$size)?.try_into().ok()?;
                let _ = bytes;
                Some($name {
                    $( $field: <$ty as $crate::layout::Field>::get(
                        &bytes[$offset..$offset + <$ty as $crate::layout::Field>::SIZE],
                    )?, )*
                })
            }
        }

        const _: () = {
            let mut _next = 0usize;
            $(
                assert!($offset == _next, "offset leaves a gap or overlaps");
                _next += <$ty as $crate::layout::Field>::SIZE;
            )*
            assert!(_next == $size, "fields do not add up to the stated size");
        };
    };
}
