"""What a shop says on every page of a product: how it delivers, takes back and is paid, and what buyers write.

Sections are known by their headings, in the languages of WORDS, on pages that say that they offer a product. On others
the same headings are what the page is about.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from curation.kernels import blocks as kernels
from curation.kernels.blocks import HEADING
from curation.kernels.markup import ELEMENT, LAST, PARENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.sources.extraction.page import Blocks

#: Words of which a heading must have one, a line for each language.
_WORDS = """
delivery shipping shipment returns return refund refunds exchanges payment payments reviews ratings
versand versandkosten lieferung lieferzeit rückgabe retouren rücksendung umtausch zahlung zahlungsarten
bewertungen rezensionen kundenbewertungen kundenrezensionen produktbewertungen
livraison livraisons expédition retour retours remboursement paiement avis
envío envíos entrega entregas devolución devoluciones reembolso pago pagos reseñas opiniones valoraciones
spedizione spedizioni consegna reso resi rimborso pagamento pagamenti recensioni
envio envios devolução devoluções reembolsos avaliações
verzending levering bezorging retourneren betaling beoordelingen
dostawa zwroty płatność opinie
доставка возврат оплата отзывы
"""
#: Those that may stand beside them.
_BESIDE = """
and or the of our your you us what this product customer customers s policy policies information info details
options methods costs cost rate rating star stars write read all see free easy secure
und oder die der das unsere kunden kosten informationen
et ou les des de du la le nos vos client clients
y o los las el nuestros clientes del
e di dei delle della i le nostre clienti
os as dos das em
en van onze klanten
и
"""
WORDS, BESIDE = frozenset(_WORDS.split()), frozenset(_BESIDE.split())

_LETTERS = re.compile(r"[^\W\d_]+")
_MOST_WORDS = 6
#: Elements around a heading, in and out, in which more than the heading is looked for.
_MOST_STEPS = 16


def terms(blocks: Blocks) -> NDArray[np.bool_]:
    """Which blocks of a page that offers a product are in such a section, with its heading.

    A section is what follows its heading in the smallest element that holds more than it, up to the next heading that
    is as high.
    """
    found = np.zeros(len(blocks.page.blocks), np.bool_)
    styles = np.empty((len(found), 9), np.int32)
    kernels.style(blocks.page.elements, blocks.page.blocks, styles)
    next_as_high = [len(found)] * 7
    for row in np.flatnonzero(styles[:, HEADING])[::-1].tolist():
        level = int(styles[row, HEADING])
        if blocks.local[row, 1] <= _MOST_WORDS and _is_term(blocks.text(row)):
            found[row : min(_last(blocks, row), next_as_high[level])] = True
        next_as_high[level:] = [row] * (7 - level)
    return found


def _is_term(heading: str) -> bool:
    """Whether a heading says nothing else.

    >>> _is_term("Delivery & Returns"), _is_term("Avis clients"), _is_term("Product details"), _is_term("Return to Oz")
    (True, True, False, False)
    """
    words = set(_LETTERS.findall(heading.lower()))
    return bool(words & WORDS) and words <= WORDS | BESIDE


def _last(blocks: Blocks, row: int) -> int:
    """The end of the smallest element that begins before what follows a block and holds some of it."""
    elements = blocks.page.elements
    around = int(blocks.page.blocks[row, ELEMENT])
    for _ in range(_MOST_STEPS):
        if int(elements[around, LAST]) > row + 1:
            return int(elements[around, LAST])
        around = int(elements[around, PARENT])
        if around < 0:
            break
    return row + 1
