//! The agent in a guest: the port `Guest` over vsock and hybrid vsock.
