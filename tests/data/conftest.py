"""The files of a small shop whose graph is known beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

PRODUCTS = """sku,name,description,price,brand,colours,listed_on
0071,Red mug,holds tea,4.50,Acme,red | white,2024-01-01
0072,Blue mug,,6.00,Acme,blue,2024-02-01
0073,Lamp,warm light,25.00,,white,
"""
ORDERS = """customer,sku,date,quantity
9,0072,2024-03-02,2
8,0071,2024-03-01 10:00:00,1
9,0071,2024-03-02,1
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text(PRODUCTS)
    (tmp_path / "orders.csv").write_text(ORDERS)
    return tmp_path
