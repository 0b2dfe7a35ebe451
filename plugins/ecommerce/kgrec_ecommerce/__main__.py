"""`python -m kgrec_ecommerce` and the script `kgrec-ecommerce`: the same group as `kgrec ecommerce`."""

from kgrec_core.domain import domain_group
from kgrec_ecommerce import DOMAIN

main = domain_group(DOMAIN)

if __name__ == "__main__":
    main(prog_name="kgrec-ecommerce")
