"""What tests share: clients and servers put together, scripts, strategies, documented examples."""
