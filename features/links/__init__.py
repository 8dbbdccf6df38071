"""Links between consignments that share a name, an address, a phone, an e-mail or an account."""
