import click

from kgrec_core import KgrecError


@click.command()
@click.pass_obj
def hello(domain):
    click.echo(f"hello {domain.name}")


@click.command()
def wrong():
    raise KgrecError("orders.csv is missing; give --data FILES")


@click.command()
def interrupted():
    raise KeyboardInterrupt
