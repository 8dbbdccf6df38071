"""Endpoints of the pages for officers: signing in, reading, deciding, and trying a consignment."""
