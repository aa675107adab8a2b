"""What real media become: three first batches, and everything that is asserted of them."""
