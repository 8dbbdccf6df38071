"""Signatures on promotion records: keys, who may approve, and the signed record itself."""
