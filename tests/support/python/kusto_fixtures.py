"""Fixtures of the tests that upload to Azure Data Explorer: one storage for a module, clusters with their own containers."""
import azurite
import pytest
from kusto_fake import KustoFake


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    with azurite.Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def make_kusto(storage):
    """make_kusto(...): a cluster whose containers are its own; checked at the end."""
    clusters = []

    def make(**options):
        kusto = KustoFake(storage, **options)
        number = storage.clusters
        storage.clusters += 1
        kusto.containers = [f"c{number}-{i}" for i in range(len(kusto.containers))]
        kusto.queues = [f"q{number}-{i}" for i in range(2)]
        kusto.__enter__()
        clusters.append(kusto)
        return kusto

    yield make
    for kusto in clusters:
        kusto.__exit__(None, None, None)
        kusto.check()
