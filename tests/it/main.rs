//! One integration binary; each module is a suite.

mod tidy;
