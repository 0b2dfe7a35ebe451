"""The conformance kit: one check per kind of part, for the core's own parts and for a third party's test."""

from kgrec_core.testing.kit import BUYS, HAS, check_data, check_encoder, check_head, check_retrieval, checkerboard

__all__ = ["BUYS", "HAS", "check_data", "check_encoder", "check_head", "check_retrieval", "checkerboard"]
