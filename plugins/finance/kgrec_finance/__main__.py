"""`python -m kgrec_finance` and the script `kgrec-finance`: the same group as `kgrec finance`."""

from kgrec_core.domain import domain_group
from kgrec_finance import DOMAIN

main = domain_group(DOMAIN)

if __name__ == "__main__":
    main(prog_name="kgrec-finance")
