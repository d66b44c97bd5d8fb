//! The node's interface: what each endpoint of `wachter-api` does here.
