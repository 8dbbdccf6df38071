"""ONE Record (IATA), data model 2.0 to 3.3 in JSON-LD: waybills, shipments and pieces, embedded or linked."""
