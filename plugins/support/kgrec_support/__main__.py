"""`python -m kgrec_support` and the script `kgrec-support`: the same group as `kgrec support`."""

from kgrec_core.domain import domain_group
from kgrec_support import DOMAIN

main = domain_group(DOMAIN)

if __name__ == "__main__":
    main(prog_name="kgrec-support")
