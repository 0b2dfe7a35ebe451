"""Chains beside each other on the same views: fitted with and without what they know, set against the floor, one of them published."""
