"""The benchmarks: PulseGuard beside peers that do the same work with the same services, and beside what bounds them."""
