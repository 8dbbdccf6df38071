"""Messages of air cargo: IATA Cargo-XML, Cargo-IMP, and the customs notes that both carry."""
